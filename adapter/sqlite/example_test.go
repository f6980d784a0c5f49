package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/record"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	db, err := sqlite.Open(filepath.Join(dir, "site.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	// Give db to gatebook.Config.Adapter. What a sign-in then writes is an act
	// like this one.
	ctx := context.Background()
	ada := gatebook.User{ID: "1", Name: "Ada", Email: "ada@example.com"}
	err = db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{
		gatebook.CreateUser{User: ada, Subject: record.NewKey()},
		gatebook.CreateSession{Session: gatebook.StoredSession{
			Token: "secret", UserID: ada.ID, Expires: time.Now().Add(time.Hour),
		}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	found, err := db.Session(ctx, "secret")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(found.User.Name, found.User.Email)
	// Output: Ada ada@example.com
}
