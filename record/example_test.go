package record_test

import (
	"fmt"
	"time"

	"github.com/gatebook/gatebook/record"
)

func Example() {
	ada := record.NewKey()
	identity, err := record.NewBlock(record.ClassIdentity, ada, record.SignOut{
		User: record.Person{ID: "1", Email: "ada@example.com"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := record.New(record.Header{
		ID: "019ab5c7-de4a-7000-8000-0000000000a1", Act: "019ab5c7-de4a-7000-8000-0000000000a0",
		Type: record.TypeSignOut, TypeVersion: 1, Time: time.Now(), Outcome: record.Success, Subject: ada,
	}, []record.Block{identity}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	// Later, from the bytes alone:
	h, err := record.ParseHeader(e.Header)
	if err != nil {
		fmt.Println(err)
		return
	}
	var p record.SignOut
	if err := e.Blocks[0].Decode(&p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Type, p.User.Email, h.Blocks[0].Digest == e.Blocks[0].Digest())
	// Output: signOut ada@example.com true
}
