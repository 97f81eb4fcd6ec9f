package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"gopkg.in/macaroon.v2"

	"github.com/go-macaroon-bakery/macaroon-bakery/bakery"
	"github.com/go-macaroon-bakery/macaroon-bakery/httpbakery"
	"github.com/go-macaroon-bakery/macaroon-bakery/httpbakery/agent"
)

// client gathers the discharges of a token and writes the slice, bound, as JSON. A page that a person has to
// visit is a line "visit URL" before it.
func client(arguments []string) error {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	agentFile := flags.String("agent", "", "bakery's file of an agent's key and names")
	browser := flags.Bool("browser", false, "whether somebody visits pages")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	asking, err := newClient(*agentFile)
	if err != nil {
		return err
	}
	if *browser {
		asking.AddInteractor(httpbakery.WebBrowserInteractor{OpenWebBrowser: sayVisit})
	}
	root, err := readToken(os.Stdin)
	if err != nil {
		return err
	}
	slice, err := asking.DischargeAll(context.Background(), root)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(slice)
}

// fetch gets each URL in turn, with one client, and writes the status and the body of what it answers at last.
func fetch(arguments []string) error {
	flags := flag.NewFlagSet("fetch", flag.ContinueOnError)
	agentFile := flags.String("agent", "", "bakery's file of an agent's key and names")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	asking, err := newClient(*agentFile)
	if err != nil {
		return err
	}
	for _, place := range flags.Args() {
		request, err := http.NewRequest("GET", place, nil)
		if err != nil {
			return err
		}
		response, err := asking.Do(request)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		answer := map[string]interface{}{"status": response.StatusCode, "body": string(body)}
		if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func newClient(agentFile string) (*httpbakery.Client, error) {
	asking := httpbakery.NewClient()
	if agentFile == "" {
		return asking, nil
	}
	os.Setenv("BAKERY_AGENT_FILE", agentFile)
	info, err := agent.AuthInfoFromEnvironment()
	if err != nil {
		return nil, err
	}
	return asking, agent.SetUpAuth(asking, info)
}

func sayVisit(page *url.URL) error {
	_, err := fmt.Println("visit", page)
	return err
}

func readToken(from io.Reader) (*bakery.Macaroon, error) {
	text, err := io.ReadAll(from)
	if err != nil {
		return nil, err
	}
	octets, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	var root macaroon.Macaroon
	if err := root.UnmarshalBinary(octets); err != nil {
		return nil, err
	}
	return bakery.NewLegacyMacaroon(&root)
}
