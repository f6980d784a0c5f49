// Package consumer tests what a program outside this repository gets: that it
// builds against the modules as they are published, without the workspace
// that hides a requirement somebody forgot, and which modules come with it.
package consumer
