package smtp_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is an SMTP server that speaks over TCP, with or without TLS, and keeps
// what it was sent. Its fields are set before serve.
type server struct {
	addr     string
	starttls bool
	implicit bool
	login    string // "user\x00password"; empty for no AUTH
	// answers replace the server's own by verb: "RCPT", "." for the end of the
	// message, "" for the greeting. "-" closes the connection.
	answers map[string]string

	cert  tls.Certificate
	roots *x509.CertPool

	mu       sync.Mutex // guards what follows
	commands []string
	mails    []mailed
	sessions int
}

type mailed struct {
	from, to, data string
	tls, auth      bool
}

func (s *server) serve(t *testing.T) {
	t.Helper()
	s.cert, s.roots = certificate(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if s.implicit {
				conn = tls.Server(conn, s.tls())
			}
			wg.Go(func() { s.talk(conn) })
		}
	})
}

func (s *server) tls() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{s.cert}} }

func (s *server) talk(conn net.Conn) {
	defer func() { conn.Close() }()
	r := bufio.NewReader(conn)
	secure, authed := s.implicit, false
	var m mailed
	s.mu.Lock()
	s.sessions++
	s.mu.Unlock()
	// say reports whether the conversation goes on.
	say := func(verb, answer string) bool {
		if a, ok := s.answers[verb]; ok {
			answer = a
		}
		if answer == "-" {
			return false
		}
		_, err := io.WriteString(conn, answer+"\r\n")
		return err == nil
	}
	if !say("", "220 mail.test ESMTP") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, arg, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		var ok bool
		switch verb {
		case "EHLO":
			hello := "250-mail.test\r\n250-ENHANCEDSTATUSCODES\r\n"
			if s.starttls && !secure {
				hello += "250-STARTTLS\r\n"
			}
			if s.login != "" {
				hello += "250-AUTH PLAIN LOGIN\r\n"
			}
			ok = say(verb, hello+"250 8BITMIME")
		case "STARTTLS":
			if ok = say(verb, "220 2.0.0 go ahead"); ok {
				conn, secure = tls.Server(conn, s.tls()), true
				r = bufio.NewReader(conn)
			}
		case "AUTH":
			_, given, _ := strings.Cut(arg, " ")
			plain, _ := base64.StdEncoding.DecodeString(given)
			if authed = string(plain) == "\x00"+s.login; authed {
				ok = say(verb, "235 2.7.0 welcome")
			} else {
				ok = say(verb, "535 5.7.8 "+string(plain)+" is wrong")
			}
		case "MAIL":
			m = mailed{from: arg, tls: secure, auth: authed}
			ok = say(verb, "250 2.1.0 ok")
		case "RCPT":
			m.to += arg
			ok = say(verb, "250 2.1.5 ok")
		case "DATA":
			if ok = say(verb, "354 go ahead"); !ok || s.answers[verb] != "" {
				break
			}
			var data strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			m.data = data.String()
			if s.answers["."] == "" {
				s.mu.Lock()
				s.mails = append(s.mails, m)
				s.mu.Unlock()
			}
			ok = say(".", "250 2.0.0 queued")
		case "QUIT":
			say(verb, "221 2.0.0 bye")
			return
		default:
			ok = say(verb, "250 2.0.0 ok")
		}
		if !ok {
			return
		}
	}
}

// received returns the only mail that came in, or fails the test.
func (s *server) received(t *testing.T) mailed {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mails) != 1 {
		t.Fatalf("%d mails came in, want 1", len(s.mails))
	}
	return s.mails[0]
}

func (s *server) said(verb string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if strings.HasPrefix(strings.ToUpper(c), verb) {
			return true
		}
	}
	return false
}

func (s *server) url(scheme, login string) string {
	if login != "" {
		login += "@"
	}
	return fmt.Sprintf("%s://%s%s", scheme, login, s.addr)
}

// certificate makes a certificate for 127.0.0.1 and mail.test that signs itself.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"mail.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}
