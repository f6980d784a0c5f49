module github.com/gatebook/gatebook/adapter/mysql

go 1.26.0

require (
	github.com/gatebook/gatebook v0.0.0
	github.com/go-sql-driver/mysql v1.10.1
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
)

replace github.com/gatebook/gatebook => ../..
