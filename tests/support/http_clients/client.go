// Uploads a file, requests its separation, and follows it. Arguments: base URL and API key.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
)

var base, key = os.Args[1], os.Args[2]

func send(method, url string, body []byte, headers map[string]string, status int) *http.Response {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	check(err)
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	check(err)
	if response.StatusCode != status {
		check(fmt.Errorf("%s %s: %s", method, url, response.Status))
	}
	return response
}

func post(path string, body any, status int) map[string]any {
	encoded, err := json.Marshal(body)
	check(err)
	headers := map[string]string{"X-API-Key": key, "Content-Type": "application/json"}
	response := send("POST", base+path, encoded, headers, status)
	defer response.Body.Close()
	var decoded map[string]any
	check(json.NewDecoder(response.Body).Decode(&decoded))
	return decoded
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	file := []byte("ID3 of Go")
	slot := post("/uploads", map[string]any{"filename": "song.mp3", "content_type": "audio/mpeg", "size": len(file)}, 200)
	headers := map[string]string{}
	for name, value := range slot["headers"].(map[string]any) {
		headers[name] = value.(string)
	}
	send("PUT", slot["url"].(string), file, headers, 200)
	track := post("/separate-audio", map[string]any{"upload_id": slot["upload_id"]}, 202)["track_id"].(string)
	send("GET", base+"/job/"+track, nil, map[string]string{"X-API-Key": key}, 200).Body.Close()
	events := send("GET", base+"/job/"+track+"/events", nil, map[string]string{"X-API-Key": key}, 200)
	for lines := bufio.NewScanner(events.Body); lines.Scan(); {
		if lines.Text() == "event: snapshot" {
			fmt.Println(track)
			return
		}
	}
	check(fmt.Errorf("the stream ended without a snapshot"))
}
