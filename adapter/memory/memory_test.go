package memory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/record"
)

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, func(*testing.T) gatebook.Adapter { return memory.New() }, nil)
}

func Example() {
	ctx := context.Background()
	store := memory.New()
	ada := gatebook.User{ID: "1", Name: "Ada", Email: "ada@example.com"}
	err := store.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{
		gatebook.CreateUser{User: ada, Subject: record.NewKey()},
		gatebook.CreateSession{Session: gatebook.StoredSession{
			Token: "secret", UserID: ada.ID, Expires: time.Now().Add(time.Hour),
		}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := store.Session(ctx, "secret")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(found.User.Name, found.Session.Token)
	// Output: Ada [redacted]
}
