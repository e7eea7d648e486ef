// PUTs a file to an upload link in several ways. Arguments: way=link; prints a line "way status" for each.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

var file = []byte("ID3 12345")

func put(way, link string) string {
	var body io.Reader = bytes.NewReader(file) // of known length: sets Content-Length
	if way == "stream" || way == "length" {
		body = io.LimitReader(body, int64(len(file))) // of unknown length, as a file or pipe: in chunks
	}
	request, err := http.NewRequest("PUT", link, body)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Content-Type", "audio/mpeg")
	request.Header.Set("Content-Disposition", "attachment")
	request.Header.Set("If-None-Match", "*")
	switch way {
	case "charset":
		request.Header.Set("Content-Type", "audio/mpeg; charset=utf-8")
	case "length":
		request.ContentLength = int64(len(file)) // a header of this name would be ignored
	case "expect":
		request.Header.Set("Expect", "100-continue")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	return fmt.Sprint(response.StatusCode)
}

func main() {
	for _, argument := range os.Args[1:] {
		way, link, _ := strings.Cut(argument, "=")
		fmt.Println(way, put(way, link))
	}
}
