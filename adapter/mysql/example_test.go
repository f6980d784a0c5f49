package mysql_test

import (
	"context"
	"database/sql"
	"log"
	"os"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

func ExampleOpen() {
	db, err := mysql.Open(context.Background(), "site:"+os.Getenv("PASSWORD")+"@tcp(localhost:3306)/site")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	auth, err := gatebook.New(gatebook.Config{Adapter: db})
	if err != nil {
		log.Fatal(err)
	}
	_ = auth
}

// The application has a pool already; Gatebook makes its tables there.
func ExampleNew() {
	pool, err := sql.Open("mysql", os.Getenv("DATABASE"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = pool.Close() }()
	db := mysql.New(pool, sqlstore.MySQL)
	if err := db.Migrate(context.Background()); err != nil {
		log.Fatal(err)
	}
}
