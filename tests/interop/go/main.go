// Command peer is Go's macaroon-bakery as others would use it: a client that gathers discharges, or does so for
// whatever a service asks of it, or a discharger.
//
//	peer client [-agent FILE] [-browser]    a token on standard input, V2 in base64url
//	peer fetch [-agent FILE] URL...         what each answers to one and the same client, a JSON object a line
//	peer discharger                         what it answers on standard input, a JSON object a line
//
// Built without modules (GO111MODULE=off) against Debian's sources, which lie at the import path without its "/v3".
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"client": client, "fetch": fetch, "discharger": discharger}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peer client|fetch|discharger")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
