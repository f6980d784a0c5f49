package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/test/need"
)

func BenchmarkSession(b *testing.B) {
	c := open(b, memory.New(), need.Redis(b))
	var tokens []gatebook.Secret
	for i := range 1000 {
		s := signedIn(b, c, fmt.Sprintf("user %d", i))
		tokens = append(tokens, s.Token)
		for range 2 {
			if _, err := c.Session(b.Context(), s.Token); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := c.Session(b.Context(), tokens[i%1000]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkRueidis(b *testing.B) {
	option, err := rueidis.ParseURL(need.Redis(b))
	if err != nil {
		b.Fatal(err)
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var names []string
	for i := range 1000 {
		name := fmt.Sprintf("gatebook:{12345678}:s:abcdefghabcdefgh%06d", i)
		names = append(names, name)
		if err := client.Do(b.Context(), client.B().Set().Key(name).Value(fmt.Sprintf("%0600d", i)).Build()).Error(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		v, err := client.DoCache(b.Context(), client.B().Get().Key(names[i%1000]).Cache(), 3*time.Second).ToString()
		if err != nil || len(v) < 600 {
			b.Fatal(err)
		}
		i++
	}
}
