package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"gopkg.in/errgo.v1"

	"github.com/go-macaroon-bakery/macaroon-bakery/bakery"
	"github.com/go-macaroon-bakery/macaroon-bakery/bakery/checkers"
	"github.com/go-macaroon-bakery/macaroon-bakery/httpbakery"
)

// answer is one line of standard input: what a condition is answered with.
type answer struct {
	Condition string
	Caveats   []added
	Login     string // "", "browser-window" or "agent"
}

// added is one caveat of a discharge.
type added struct {
	Declare  []string // a name and its value
	Before   float64  // seconds from now until the discharge expires
	Location string   // of the third party that answers Text; empty for a first-party caveat
	Text     string
}

func (a added) caveat(now time.Time) checkers.Caveat {
	switch {
	case len(a.Declare) == 2:
		return checkers.DeclaredCaveat(a.Declare[0], a.Declare[1])
	case a.Before != 0:
		return checkers.TimeBeforeCaveat(now.Add(time.Duration(a.Before * float64(time.Second))))
	}
	return checkers.Caveat{Location: a.Location, Condition: a.Text}
}

// table is the conditions that the discharger knows.
type table struct {
	mu      sync.Mutex
	answers map[string]answer
	logins  *logins
}

func (t *table) find(condition string) (answer, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.answers[condition]
	return found, ok
}

// learn takes the lines of standard input, and says "ok" after each, until there are no more.
func (t *table) learn() error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return err
		}
		t.mu.Lock()
		t.answers[a.Condition] = a
		t.mu.Unlock()
		fmt.Println("ok")
	}
	return lines.Err()
}

// CheckThirdPartyCaveat answers one condition, or refuses it, or asks for a login first.
func (t *table) CheckThirdPartyCaveat(
	_ context.Context, p httpbakery.ThirdPartyCaveatCheckerParams,
) ([]checkers.Caveat, error) {
	found, ok := t.find(string(p.Caveat.Condition))
	if !ok {
		return nil, errgo.WithCausef(nil, httpbakery.ErrPermissionDenied, "no such condition")
	}
	if found.Login != "" && !t.logins.proves(found.Login, p.Token) {
		return nil, t.logins.required(found.Login, p.Request)
	}
	caveats := []checkers.Caveat{}
	for _, one := range found.Caveats {
		caveats = append(caveats, one.caveat(time.Now()))
	}
	return caveats, nil
}

// discharger serves on a free port until standard input ends.
func discharger([]string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	location := "http://" + listener.Addr().String()
	key, err := bakery.GenerateKey()
	if err != nil {
		return err
	}
	locator := httpbakery.NewThirdPartyLocator(nil, nil)
	locator.AllowInsecure()
	known := &table{answers: map[string]answer{}, logins: newLogins(location, key)}
	mux := http.NewServeMux()
	known.logins.serve(mux)
	serving := httpbakery.NewDischarger(httpbakery.DischargerParams{CheckerP: known, Key: key, Locator: locator})
	serving.AddMuxHandlers(mux, "/")
	go http.Serve(listener, mux)
	first := map[string]string{"url": location, "public_key": key.Public.String()}
	if err := json.NewEncoder(os.Stdout).Encode(first); err != nil {
		return err
	}
	return known.learn()
}
