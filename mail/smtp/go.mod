module github.com/gatebook/gatebook/mail/smtp

go 1.26.0

require (
	github.com/gatebook/gatebook v0.0.0
	github.com/wneessen/go-mail v0.8.1
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/text v0.40.0 // indirect
)

replace github.com/gatebook/gatebook => ../..
