package postgres

import (
	"context"
	"database/sql/driver"
)

// refusing is a connector that does not connect.
type refusing struct {
	driver.Connector
	why error
}

// Connect implements [driver.Connector].
func (r refusing) Connect(context.Context) (driver.Conn, error) { return nil, r.why }
