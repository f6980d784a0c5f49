// Package grpcsession lets a gRPC server know who is signed in at an Auth.js
// application: a pair of interceptors over authjs.Reader, to copy.
//
//	server := grpc.NewServer(
//		grpc.UnaryInterceptor(grpcsession.Unary(reader)),
//		grpc.StreamInterceptor(grpcsession.Stream(reader)),
//	)
//
// A client sends its session token as metadata: "authorization: Bearer TOKEN".
package grpcsession

import (
	"context"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatebook/gatebook/authjs"
)

type sessionKey struct{}

// Session returns who called, for handlers behind the interceptors. Elsewhere it
// returns nil.
func Session(ctx context.Context) *authjs.Session {
	s, _ := ctx.Value(sessionKey{}).(*authjs.Session)
	return s
}

// Unary refuses calls without a session, with the code Unauthenticated.
func Unary(reader *authjs.Reader) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		ctx, err := signedIn(ctx, reader)
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// Stream refuses streams without a session, with the code Unauthenticated. A
// stream that goes on after the session has expired is not ended.
func Stream(reader *authjs.Reader) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx, err := signedIn(stream.Context(), reader)
		if err != nil {
			return err
		}
		return next(srv, withContext{stream, ctx})
	}
}

// withContext is a stream with another context.
type withContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s withContext) Context() context.Context { return s.ctx }

func signedIn(ctx context.Context, reader *authjs.Reader) (context.Context, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	// The header is read as that of an HTTP request is, scheme and all.
	s, err := reader.Session(&http.Request{Header: http.Header{"Authorization": md["authorization"]}})
	if err != nil {
		// Not err, which tells an operator what is wrong with the token.
		return nil, status.Error(codes.Unauthenticated, "sign in first")
	}
	return context.WithValue(ctx, sessionKey{}, s), nil
}
