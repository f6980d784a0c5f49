package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

func TestRunAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		stop := d.run()
		d.visitor().signIn()
		pause(time.Second)
		if n, _, err := d.auth.Book().Pending(context.Background()); n != 0 || err != nil {
			t.Errorf("%d entries wait while Run runs, %v", n, err)
		}
		stop() // returns when Run has
		d.visitor().signIn()
		if n, _, _ := d.auth.Book().Pending(context.Background()); n != 1 {
			t.Errorf("%d entries wait, want the sign-in after Run", n)
		}
		mustClose(t, d.auth)
		if n, _, _ := d.auth.Book().Pending(context.Background()); n != 0 {
			t.Errorf("%d entries wait after Close", n)
		}
		mustClose(t, d.auth)
		// It is not used after Close, but that does no harm.
		if v := d.visitor(); v.signIn().Code != 302 || !v.signedIn() {
			t.Error("a sign-in after Close failed")
		}
	})
}

// running is an adapter that works beside the requests.
type running struct {
	gatebook.Adapter
	run func(context.Context) error
}

func (r running) Run(ctx context.Context) error { return r.run(ctx) }

// Run runs an adapter that has something to do, waits for it, and goes on when it
// fails.
func TestRunOfAnAdapter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran, ended bool
		d := newDesk(t, func(_ *desk, cfg *gatebook.Config) {
			cfg.Adapter = running{cfg.Adapter, func(ctx context.Context) error {
				ran = true
				<-ctx.Done()
				time.Sleep(time.Second)
				ended = true
				return nil
			}}
		})
		stop := d.run()
		synctest.Wait()
		if !ran || ended {
			t.Errorf("while Run runs the adapter has begun: %v, and ended: %v", ran, ended)
		}
		if stop(); !ended {
			t.Error("Run returned before the adapter's")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, func(_ *desk, cfg *gatebook.Config) {
			cfg.Adapter = running{cfg.Adapter, func(context.Context) error { return errors.New("out of work") }}
		})
		stop := d.run()
		d.visitor().signIn()
		pause(time.Second)
		if n, _, err := d.auth.Book().Pending(context.Background()); n != 0 || err != nil {
			t.Errorf("%d entries wait after the adapter's Run failed, %v", n, err)
		}
		stop()
		if n := strings.Count(d.log.String(), "out of work"); n != 1 {
			t.Errorf("the log says it %d times, want once:\n%s", n, d.log)
		}
	})
}

// Close before anything, and with a context that has ended.
func TestCloseEarly(t *testing.T) {
	d := newDesk(t, nil)
	mustClose(t, d.auth)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	d.visitor().signIn()
	if err := d.auth.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Close with an ended context = %v", err)
	}
	mustClose(t, d.auth)
	if got := len(d.entries()); got != 3 {
		t.Errorf("%d entries, want 3", got)
	}
}

// Who forgets to call Run is told, once.
func TestRunIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		for range 30 {
			d.visitor().signIn()
			pause(time.Second)
		}
		synctest.Wait()
		if n := strings.Count(d.log.String(), "call Run"); n != 1 {
			t.Errorf("the log says it %d times, want once:\n%s", n, d.log)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		stop := d.run()
		for range 30 {
			d.visitor().signIn()
			pause(time.Second)
		}
		stop()
		if d.log.String() != "" {
			t.Errorf("log:\n%s", d.log)
		}
	})
}

// callbacks counts how often the application was asked.
type callbacks struct {
	mu          sync.Mutex
	signIn, jwt int
}

func (c *callbacks) into(cfg *gatebook.Config) {
	cfg.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.signIn++
		return nil
	}
	cfg.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if p.User != nil {
			c.jwt++
		}
		return &p.Token, nil
	}
}

// The connection is lost at a commit: looking the entries up tells what became
// of it.
func TestCommitOutcomeUnknown(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		commits := 2
		if strategy == gatebook.StrategyDatabase {
			commits = 1
		}
		for nth := 1; nth <= commits; nth++ {
			for _, happened := range []bool{true, false} {
				t.Run(fmt.Sprintf("commit %d, happened %v", nth, happened), func(t *testing.T) {
					var asked callbacks
					d := newDesk(t, func(_ *desk, c *gatebook.Config) {
						c.Session.Strategy = strategy
						asked.into(c)
					})
					v := d.visitor()
					back := v.begin(d.idp)
					n := 0
					lose := func(op string, _ *gatebook.Act) error {
						if op == "Commit" {
							if n++; n == nth {
								return fmt.Errorf("connection reset: %w", gatebook.ErrCommitUnknown)
							}
						}
						return nil
					}
					if happened {
						d.store.fault(nil, lose)
					} else {
						d.store.fault(lose, nil)
					}
					w := v.get(back)
					want := []string{"createUser", "linkAccount", "signIn"}
					page, in := deskOrigin, true
					if !happened {
						page, in = deskOrigin+"/auth/error?error=Configuration", false
						want = []string{"signIn.failed"}
						if nth == 2 {
							want = []string{"createUser", "linkAccount", "signIn.failed"}
						}
					}
					if got := w.Header().Get("Location"); w.Code != 302 || got != page || v.signedIn() != in {
						t.Errorf("the visitor got %d to %q, signed in %v; want %q, %v", w.Code, got, v.signedIn(), page, in)
					}
					entries := d.entries()
					if got := types(entries); !slices.Equal(got, want) {
						t.Errorf("recorded %v, want %v", got, want)
					}
					if got := d.heard.types(); !slices.Equal(got, want) {
						t.Errorf("heard %v, want %v", got, want)
					}
					if failed := of(entries, record.TypeSignInFailed); len(failed) > 0 && failed[0].Header.Reason != record.ReasonStoreError {
						t.Errorf("recorded %s", failed[0].Raw)
					}
					if asked.signIn != 1 || asked.jwt > 1 {
						t.Errorf("callbacks were asked %d and %d times", asked.signIn, asked.jwt)
					}
					if s := d.log.String(); !strings.Contains(s, "connection") {
						t.Errorf("the log says nothing: %q", s)
					}
				})
			}
		}
	})
}

// lossyBook is a book whose answers get lost.
type lossyBook struct {
	*book.Memory
	append  func() (happens bool, err error)
	missing func() error
}

func (b *lossyBook) Append(ctx context.Context, entries []record.Entry) error {
	happens, err := b.append()
	if happens {
		if err := b.Memory.Append(ctx, entries); err != nil {
			return err
		}
	}
	return err
}

func (b *lossyBook) Missing(ctx context.Context, ids []string) ([]string, error) {
	if err := b.missing(); err != nil {
		return nil, err
	}
	return b.Memory.Missing(ctx, ids)
}

// Without an adapter it is the book whose answer is lost, and whose look-up may
// fail for a while.
func TestAppendOutcomeUnknown(t *testing.T) {
	down := errors.New("no connection")
	tests := []struct {
		name     string
		happens  bool
		lookUps  int // that fail before one works
		signedIn bool
		took     time.Duration // at most
	}{
		{"happened", true, 0, true, 0},
		{"did not happen", false, 0, false, 0},
		{"happened, found later", true, 4, true, time.Second},
		{"happened, never found out", true, 1 << 30, false, 5 * time.Second},
		{"did not happen, found later", false, 4, false, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := &lossyBook{Memory: book.NewMemory()}
				b.append = func() (bool, error) { return tt.happens, book.ErrCommitUnknown }
				looked := 0
				b.missing = func() error {
					if looked++; looked <= tt.lookUps {
						return down
					}
					return nil
				}
				d := newDesk(t, func(d *desk, c *gatebook.Config) {
					c.Adapter, c.Book = nil, book.New(b)
					c.Providers = []gatebook.Provider{d.idp}
				})
				v := d.visitor()
				back := v.begin(d.idp)
				begun := time.Now()
				v.get(back)
				if v.signedIn() != tt.signedIn {
					t.Errorf("signed in: %v, want %v\n%s", v.signedIn(), tt.signedIn, d.log)
				}
				// The refusal is recorded too, and its answer lost as well.
				if took := time.Since(begun); took > 2*tt.took {
					t.Errorf("took %v", took)
				}
				if got := d.heard.types(); slices.Contains(got, "signIn") != tt.signedIn {
					t.Errorf("heard %v", got)
				}
			})
		})
	}
}

// The store fails at each call of a flow in turn, and at all from there on: no
// panic, and a session if and only if its sign-in is recorded.
func TestStoreFailsAtEachCall(t *testing.T) {
	down := errors.New("the disk is full")
	known := func(d *desk) { d.visitor().signIn() }
	user := func(d *desk) {
		if _, err := d.auth.CreateUser(context.Background(), gatebook.User{ID: "u-1", Email: "ada@example.com"}); err != nil {
			d.t.Fatal(err)
		}
	}
	flows := []struct {
		name  string
		setUp func(*desk)
		act   func(*visitor)
	}{
		{"OAuth, new", nil, func(v *visitor) { v.signIn() }},
		{"OAuth, known", known, func(v *visitor) { v.signIn() }},
		{"OAuth, not linked", user, func(v *visitor) { v.signIn() }},
		{"magic link, known", user, func(v *visitor) {
			v.post("/auth/signin/email", url.Values{"email": {"ada@example.com"}})
			v.d.mail.mu.Lock()
			n := len(v.d.mail.sent)
			v.d.mail.mu.Unlock()
			if n > 0 {
				v.link("ada@example.com")
			}
		}},
		{"credentials", user, func(v *visitor) { v.password("u-1", "right") }},
	}
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, flow := range flows {
			t.Run(flow.name, func(t *testing.T) {
				for _, lasting := range []bool{false, true} {
					for k := 1; ; k++ {
						d := newDesk(t, with2(strategy))
						if flow.setUp != nil {
							flow.setUp(d)
						}
						before := len(of(d.entries(), record.TypeSignIn))
						n := 0
						d.store.fault(func(string, *gatebook.Act) error {
							if n++; n == k || lasting && n > k {
								return down
							}
							return nil
						}, nil)
						v := d.visitor()
						if flow.name == "magic link, known" && lasting {
							d.mail.sent = nil
						}
						func() {
							defer func() {
								if p := recover(); p != nil {
									t.Errorf("call %d: panic: %v", k, p)
								}
							}()
							flow.act(v)
						}()
						d.store.fault(nil, nil)
						if n < k {
							break // the flow has no such call
						}
						mustClose(t, d.auth)
						if got := len(of(d.entries(), record.TypeSignIn)) - before; got > 1 || v.signedIn() != (got == 1) {
							t.Errorf("call %d, lasting %v: signed in %v, and %d sign-ins are recorded", k, lasting, v.signedIn(), got)
						}
						if d.log.String() == "" {
							t.Errorf("call %d, lasting %v: nothing in the log", k, lasting)
						}
						// And it recovers by itself.
						u := d.visitor()
						if flow.act(u); strategy == gatebook.StrategyJWT && flow.name == "credentials" && !u.signedIn() {
							t.Errorf("call %d: it does not recover\n%s", k, d.log)
						}
						if k > 50 {
							t.Fatal("the flow never ends")
						}
					}
				}
			})
		}
	})
}

// Signing out and reading a session while the store fails.
func TestStoreFailsWithASession(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Session.UpdateAge = -1
		})
		v := d.visitor()
		v.signIn()
		for _, op := range []string{"Session", "ExtendSession"} {
			d.store.fault(func(o string, _ *gatebook.Act) error {
				if o == op {
					return errors.New("the disk is full")
				}
				return nil
			}, nil)
			had := v.cookies[sessionCookie]
			got := v.get("/auth/session")
			if strategy == gatebook.StrategyDatabase && (got.Body.String() != "null" || got.Code != 200 || v.cookies[sessionCookie] != had) {
				t.Errorf("%s fails: %d %s, cookie kept: %v", op, got.Code, got.Body, v.cookies[sessionCookie] == had)
			}
			if strategy == gatebook.StrategyJWT && !strings.Contains(got.Body.String(), "ada@") {
				t.Errorf("%s fails, which a token session does not need: %s", op, got.Body)
			}
		}
		d.store.fault(func(string, *gatebook.Act) error { return errors.New("the disk is full") }, nil)
		v.post("/auth/signout", nil)
		if v.signedIn() {
			t.Error("the cookie is still there after signing out")
		}
		if got := d.heard.types(); slices.Contains(got, "signOut") {
			t.Errorf("heard %v of what is not recorded", got)
		}
	})
}

// An act that meets another is decided anew, at most three times more; the
// callbacks are asked once.
func TestSignInRunsAgain(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		commits := 2
		if strategy == gatebook.StrategyDatabase {
			commits = 1
		}
		for nth := 1; nth <= commits; nth++ {
			for _, conflicts := range []int{1, 3, 4} {
				t.Run(fmt.Sprintf("commit %d, %d conflicts", nth, conflicts), func(t *testing.T) {
					var asked callbacks
					d := newDesk(t, func(_ *desk, c *gatebook.Config) {
						c.Session.Strategy = strategy
						asked.into(c)
					})
					v := d.visitor()
					back := v.begin(d.idp)
					done, n := 1, 0
					d.store.fault(func(op string, _ *gatebook.Act) error {
						if op == "Commit" && done == nth && n < conflicts {
							n++
							return fmt.Errorf("deadlock: %w", gatebook.ErrConflict)
						}
						return nil
					}, func(op string, _ *gatebook.Act) error {
						if op == "Commit" {
							done++
						}
						return nil
					})
					v.get(back)
					if v.signedIn() != (conflicts <= 3) || n != conflicts {
						t.Errorf("signed in %v after %d conflicts\n%s", v.signedIn(), n, d.log)
					}
					want := []string{"createUser", "linkAccount", "signIn"}
					if conflicts > 3 {
						want = append(want[:(nth-1)*2:(nth-1)*2], "signIn.failed")
					}
					if got := types(d.entries()); !slices.Equal(got, want) || !slices.Equal(d.heard.types(), want) {
						t.Errorf("recorded %v, heard %v, want %v", got, d.heard.types(), want)
					}
					if asked.signIn != 1 || asked.jwt > 1 {
						t.Errorf("callbacks were asked %d and %d times", asked.signIn, asked.jwt)
					}
				})
			}
		}
	})
}

// A commit that hangs is given up, and the visitor told.
func TestCommitHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		v := d.visitor()
		back := v.begin(d.idp)
		d.store.hang(true)
		begun := time.Now()
		w := v.get(back)
		if took := time.Since(begun); took > 25*time.Second || v.signedIn() || !strings.Contains(w.Header().Get("Location"), "error=Configuration") {
			t.Errorf("after %v: %d to %q, signed in %v", took, w.Code, w.Header().Get("Location"), v.signedIn())
		}
	})
}
