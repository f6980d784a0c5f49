module github.com/gatebook/gatebook/adapter/redis

go 1.26.0

require (
	github.com/gatebook/gatebook v0.0.0
	github.com/redis/rueidis v1.0.79
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace github.com/gatebook/gatebook => ../..
