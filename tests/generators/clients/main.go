// Uses the client that oapi-codegen made. Arguments: URL, key, ids of a completed and a failed track.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"stemyard.example/client/stemyard"
)

func main() {
	url, key, completed, failed := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	background := context.Background()
	authenticate := func(_ context.Context, request *http.Request) error {
		request.Header.Set("X-API-Key", key)
		return nil
	}
	client, err := stemyard.NewClientWithResponses(url, stemyard.WithRequestEditorFn(authenticate))
	check(err)
	ask := func(request stemyard.SeparationRequest) *stemyard.CreateSeparationResponse {
		answer, err := client.CreateSeparationWithResponse(background, nil, request)
		check(err)
		return answer
	}
	state := func(track string) *stemyard.GetJobResponse {
		answer, err := client.GetJobWithResponse(background, track)
		check(err)
		return answer
	}

	query, format := "by oapi-codegen", stemyard.SeparationRequestFormat("flac")
	asked := ask(stemyard.SeparationRequest{SearchQuery: &query, Format: &format, Stems: &[]stemyard.Stem{"vocals"}})
	holds(asked.JSON202 != nil && asked.JSON202.Status == "processing", asked)
	track := asked.JSON202.TrackId
	query = "a completed song"
	again := ask(stemyard.SeparationRequest{SearchQuery: &query})
	holds(again.JSON200 != nil && again.JSON200.Status == "completed" && again.JSON200.TrackId == completed, again)
	holds(strings.HasPrefix(*again.JSON200.Result.VocalsUrl, "http"), again)
	holds(state(track).JSON200.Status == "processing", track)
	holds(strings.HasPrefix(*state(completed).JSON200.Result.InstrumentalUrl, "http"), completed)
	ended := state(failed).JSON200
	holds(ended.Status == "failed" && *ended.Code == "SOURCE_NOT_FOUND", ended)
	limit := 200
	listed, err := client.ListJobsWithResponse(background, &stemyard.ListJobsParams{Limit: &limit})
	check(err)
	found := false
	for _, job := range listed.JSON200.Jobs {
		found = found || job.TrackId == completed
	}
	holds(found, listed)
	unknown := state("00000000-0000-5000-8000-000000000000")
	holds(unknown.ApplicationproblemJSON404.Code == "TRACK_NOT_FOUND", unknown)
	fmt.Print(track)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func holds(condition bool, what any) {
	if !condition {
		panic(fmt.Sprintf("%+v", what))
	}
}
