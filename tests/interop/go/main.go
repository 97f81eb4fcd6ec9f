// Command peer is Go's macaroon-bakery as others would use it: a client that gathers discharges, or a discharger.
//
//	peer client [-agent FILE] [-browser]    a token on standard input, V2 in base64url
//	peer discharger                         what it answers on standard input, a JSON object a line
//
// Built without modules (GO111MODULE=off) against Debian's sources, which lie at the import path without its "/v3".
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"client": client, "discharger": discharger}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peer client|discharger")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
