package need

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// SmallDisk mounts an empty file system of size bytes, in memory, on the folder
// dir, which belongs to the owner of the file like, or skips or fails t: only
// root may mount, and not in every container. It is gone when t ends.
func SmallDisk(t testing.TB, dir string, size int, like string) {
	t.Helper()
	info, err := os.Stat(like)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	options := fmt.Sprintf("size=%d,uid=%d,gid=%d,mode=700", size, owner.Uid, owner.Gid)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "gatebook", dir).CombinedOutput(); err != nil {
		without(t, fmt.Sprintf("a file system of its own: mount: %v: %.100s", err, out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
}
