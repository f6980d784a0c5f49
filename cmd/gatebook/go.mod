module github.com/gatebook/gatebook/cmd/gatebook

go 1.26.0

require github.com/gatebook/gatebook v0.0.0

require (
	github.com/coreos/go-oidc/v3 v3.21.0 // indirect
	github.com/zitadel/oidc/v3 v3.51.17 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
)

replace github.com/gatebook/gatebook => ../..
