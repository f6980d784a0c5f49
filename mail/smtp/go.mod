module github.com/gatebook/gatebook/mail/smtp

go 1.26.0

require github.com/gatebook/gatebook v0.0.0

replace github.com/gatebook/gatebook => ../..
