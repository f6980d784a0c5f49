//go:build !linux

package dbserver

// dir returns where the folders of servers are made: the usual place.
func dir() string { return "" }
