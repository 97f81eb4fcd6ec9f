package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"gopkg.in/macaroon.v2"

	"github.com/go-macaroon-bakery/macaroon-bakery/bakery"
	"github.com/go-macaroon-bakery/macaroon-bakery/bakery/checkers"
	"github.com/go-macaroon-bakery/macaroon-bakery/httpbakery"
	"github.com/go-macaroon-bakery/macaroon-bakery/httpbakery/agent"
)

// agentName is the one agent that is let in, under any key that it proves to hold.
const agentName = "robot"

// logins is how a client shows who he is: by visiting a page, which is enough, or by an agent's key.
type logins struct {
	location string
	key      *bakery.KeyPair

	mu      sync.Mutex
	visits  map[string]chan string // by their secret, where the token will come out
	tokens  map[string]bool        // what visits have given, each good for one discharge
	openers map[string][]byte      // root keys of agents' macaroons by their ids
}

func newLogins(location string, key *bakery.KeyPair) *logins {
	return &logins{
		location: location,
		key:      key,
		visits:   map[string]chan string{},
		tokens:   map[string]bool{},
		openers:  map[string][]byte{},
	}
}

func (l *logins) serve(mux *http.ServeMux) {
	mux.HandleFunc("/visit", l.visit)
	mux.HandleFunc("/wait", l.wait)
	mux.HandleFunc("/agent", l.agent)
}

// required is bakery's error that asks for a login.
func (l *logins) required(kind string, request *http.Request) error {
	err := httpbakery.NewInteractionRequiredError(nil, request)
	if kind == "agent" {
		agent.SetInteraction(err, l.location+"/agent")
		return err
	}
	secret := random()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.visits[secret] = make(chan string, 1)
	httpbakery.SetWebBrowserInteraction(err, l.location+"/visit?of="+secret, l.location+"/wait?of="+secret)
	return err
}

// proves says whether a discharge token shows a login of that kind.
func (l *logins) proves(kind string, token *httpbakery.DischargeToken) bool {
	if token == nil || token.Kind != kind {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if kind == "agent" {
		return l.verifies(token.Value)
	}
	good := l.tokens[string(token.Value)]
	delete(l.tokens, string(token.Value))
	return good
}

func (l *logins) verifies(octets []byte) bool {
	var slice macaroon.Slice
	if slice.UnmarshalBinary(octets) != nil || len(slice) == 0 {
		return false
	}
	none := func(caveat string) error { return fmt.Errorf("no caveat was asked for: %q", caveat) }
	opener := l.openers[string(slice[0].Id())]
	return opener != nil && slice[0].Verify(opener, none, slice[1:]) == nil
}

func (l *logins) visit(w http.ResponseWriter, request *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.visits[request.FormValue("of")]
	if waiting == nil {
		http.NotFound(w, request)
		return
	}
	token := random()
	select {
	case waiting <- token:
		l.tokens[token] = true
		fmt.Fprintln(w, "You are logged in.")
	default:
		http.Error(w, "this visit is over", http.StatusGone)
	}
}

func (l *logins) wait(w http.ResponseWriter, request *http.Request) {
	l.mu.Lock()
	waiting := l.visits[request.FormValue("of")]
	l.mu.Unlock()
	if waiting == nil {
		http.NotFound(w, request)
		return
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(<-waiting))
	writeJSON(w, httpbakery.WaitTokenResponse{Kind: httpbakery.WebBrowserInteractionKind, Token64: encoded})
}

func (l *logins) agent(w http.ResponseWriter, request *http.Request) {
	var key bakery.PublicKey
	err := key.UnmarshalText([]byte(request.FormValue("public-key")))
	if err != nil || request.FormValue("username") != agentName {
		http.Error(w, "no such agent", http.StatusForbidden)
		return
	}
	opener, id := random(), random()
	asked, err := bakery.NewMacaroon([]byte(opener), []byte(id), l.location, bakery.LatestVersion, checkers.New(nil).Namespace())
	if err == nil {
		local := bakery.LocalThirdPartyCaveat(&key, bakery.LatestVersion)
		err = asked.AddCaveat(context.Background(), local, l.key, nil)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	l.mu.Lock()
	l.openers[id] = []byte(opener)
	l.mu.Unlock()
	writeJSON(w, map[string]*bakery.Macaroon{"macaroon": asked})
}

func writeJSON(w http.ResponseWriter, value interface{}) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

func random() string {
	octets := make([]byte, 16)
	if _, err := rand.Read(octets); err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(octets)
}
