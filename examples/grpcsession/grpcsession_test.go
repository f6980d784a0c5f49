package grpcsession_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gatebook/gatebook/authjs"
	"github.com/gatebook/gatebook/examples/grpcsession"
)

// A token of next-auth 4.24.15 with the secret "secret", of the user 42, good
// until 2100.
const token = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..80kEIIderkurdkio.vIGzewsDgsYYtkTBkt6kEyq9dDOnOyYj7NUu5O4KlPSZW8BRRNtGcWXYsFbatOIOaM-TLUI7f1koxy_1KUPYZAmk0ovnhOPax3VebnasTqboeRbPcLBo9fBqYUzUrd3l3jnrkVIIaED7EAFJLmRy5_bkNxBR5pRhBQGM9nYEXh9NtMq3YyBjTnQev-7I7X3x3z-buueiobo5j6kL2QhE7z2vsA1c.FZoO_IS2rW2-DoNbPs1q0Q"

// service is any gRPC service with a unary method and a stream. It remembers who
// called.
type service struct {
	healthpb.UnimplementedHealthServer
	called chan string
}

func (s *service) note(ctx context.Context) *healthpb.HealthCheckResponse {
	s.called <- grpcsession.Session(ctx).User.ID
	return &healthpb.HealthCheckResponse{}
}

func (s *service) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return s.note(ctx), nil
}

func (s *service) Watch(_ *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	return stream.Send(s.note(stream.Context()))
}

// start serves over loopback and returns a client.
func start(t *testing.T, s *service) healthpb.HealthClient {
	t.Helper()
	reader, err := authjs.NewReader(authjs.Config{Secrets: []authjs.Secret{"secret"}})
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(grpcsession.Unary(reader)), grpc.StreamInterceptor(grpcsession.Stream(reader)))
	healthpb.RegisterHealthServer(server, s)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(ln) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthpb.NewHealthClient(conn)
}

func TestInterceptors(t *testing.T) {
	s := &service{called: make(chan string, 1)}
	client := start(t, s)
	calls := map[string]func(context.Context) error{
		"unary": func(ctx context.Context) error {
			_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
			return err
		},
		"stream": func(ctx context.Context) error {
			stream, err := client.Watch(ctx, &healthpb.HealthCheckRequest{})
			if err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		},
	}
	for kind, call := range calls {
		for _, tt := range []struct{ name, authorization, user string }{
			{"signed in", "Bearer " + token, "42"},
			{"other spelling", "bearer " + token, "42"},
			{"nobody", "", ""},
			{"no scheme", token, ""},
			{"altered", "Bearer " + token[:len(token)-2] + "AA", ""},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			if tt.authorization != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", tt.authorization)
			}
			err := call(ctx)
			cancel()
			if tt.user == "" {
				if st := status.Convert(err); st.Code() != codes.Unauthenticated || st.Message() != "sign in first" {
					t.Errorf("%s, %s: %v, want Unauthenticated", kind, tt.name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", kind, tt.name, err)
				continue
			}
			if got := <-s.called; got != tt.user {
				t.Errorf("%s, %s: user %q, want %q", kind, tt.name, got, tt.user)
			}
		}
	}
	if len(s.called) > 0 {
		t.Error("a refused call reached the service")
	}
}

func TestSessionOutside(t *testing.T) {
	if s := grpcsession.Session(context.Background()); s != nil {
		t.Errorf("Session = %+v, want nil", s)
	}
}
