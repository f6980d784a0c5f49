package dbserver

import "syscall"

// dir returns where the folders of servers are made: in memory, where there is
// room. No test can take the power away; what a server syncs it syncs all the
// same, and a hundred databases a minute do not wait for a disk.
func dir() string {
	const memory, room = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || int64(fs.Bavail)*fs.Bsize < room || syscall.Access(memory, 2 /* writable */) != nil {
		return ""
	}
	return memory
}
