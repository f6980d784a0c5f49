package catalog

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

var discord = entry{ //nolint:gosec // G101: the URL of access tokens is none
	id: "discord", name: "Discord", brand: "#5865F2",
	typ:         gatebook.TypeOAuth,
	authURL:     "https://discord.com/api/oauth2/authorize",
	tokenURL:    "https://discord.com/api/oauth2/token",
	userinfoURL: "https://discord.com/api/users/@me",
	scopes:      []string{"identify", "email"},
	profile: oauth.Profile{
		ID:            []string{"id"},
		Name:          []string{"global_name", "username"},
		Image:         []string{"image_url"},
		EmailVerified: []string{"verified"},
	},
	enrich: func(string) enrich { return discordAvatar },
}

// Discord returns Discord. The picture's URL is made of the avatar's hash; the
// profile has it as image_url.
func Discord(c Client) (*oauth.Provider, error) { return discord.provider(c) }

// discordAvatar sets image_url (Discord, Reference, Image Formatting). What is no
// id or hash makes no URL: both go into a path.
func discordAvatar(_ context.Context, _ oauth.Fetch, profile *gatebook.Claims) error {
	profile.Delete("image_url")
	id, err := strconv.ParseUint(profile.String("id"), 10, 64)
	if err != nil {
		return nil //nolint:nilerr // the profile has no id, which is refused later
	}
	avatar := profile.String("avatar")
	if avatar == "" {
		return profile.Set("image_url", fmt.Sprintf("https://cdn.discordapp.com/embed/avatars/%d.png", discordDefault(id, profile)))
	}
	hash, animated := strings.CutPrefix(avatar, "a_")
	if strings.Trim(hash, "0123456789abcdef") != "" {
		return nil
	}
	extension := "png"
	if animated {
		extension = "gif"
	}
	return profile.Set("image_url", fmt.Sprintf("https://cdn.discordapp.com/avatars/%d/%s.%s", id, avatar, extension))
}

// discordDefault returns the number of the picture of somebody who has none: by
// the id, or for names of the old kind by the number after the name.
func discordDefault(id uint64, profile *gatebook.Claims) uint64 {
	if n, err := strconv.ParseUint(profile.String("discriminator"), 10, 16); err == nil && n > 0 {
		return n % 5
	}
	return (id >> 22) % 6
}
