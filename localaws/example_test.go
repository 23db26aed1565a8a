package localaws_test

import (
	"fmt"
	"log"
	"os"

	"github.com/securethecloud/kms-baseline/localaws"
)

// A server in a temporary folder. Clients need its URL as AWS_ENDPOINT_URL and
// its authority's certificate as AWS_CA_BUNDLE.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "localaws-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	server, err := localaws.Open(localaws.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	if err := server.Start("127.0.0.1:0"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(server.URL()[:len("https://127.0.0.1")])
	// Output: https://127.0.0.1
}
