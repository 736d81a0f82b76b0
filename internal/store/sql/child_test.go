package sql_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"trueup.dev/trueup/internal/store"
	"trueup.dev/trueup/internal/store/sql"
)

// The test program starts itself as a second process: "hold" opens the store
// in a directory, leases what is due and waits to be killed.
const childVar = "TRUEUP_STORE_CHILD"

func isChild() bool { return os.Getenv(childVar) != "" }

func child() int {
	ctx := context.Background()
	s, err := sql.Open(ctx, sql.Options{Dir: os.Getenv(childVar)})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	leases, err := s.Claim(ctx, store.ClaimOptions{Owner: "child", Kinds: []store.WorkKind{store.Reconcile}, Max: 10, Lease: time.Hour, DefaultSlot: 10})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	fmt.Println("leased", len(leases))
	select {}
}
