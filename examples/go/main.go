// A small web server that tells which job it is.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	host, _ := os.Hostname()
	job := setting("SLIPWAY_JOB", host)
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from Go, job %s\n", setting("GREETING", "Hello"), job)
	})
	address := ":" + setting("PORT", "3000")
	log.Printf("listening on %s", address)
	log.Fatal(http.ListenAndServe(address, nil))
}
