// Command terraform-provider-things is a provider for tests: its resources are
// objects on a small HTTP server that the test owns (package tofu).
package main

import (
	"context"
	"log"

	"github.com/hashicorp/terraform-plugin-framework/providerserver"
)

func main() {
	err := providerserver.Serve(context.Background(), newProvider, providerserver.ServeOpts{Address: "registry.terraform.io/trueup/things"})
	if err != nil {
		log.Fatal(err)
	}
}
