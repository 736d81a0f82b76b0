// Package setplan plans and applies for drivers that manage a set of keyed
// objects: DNS RRsets, files, users, bucket objects, most REST resources. A
// driver gives it Desired, Observed, Put and Remove, and gets diffing,
// ownership, pruning, renames, drift reasons, journalled writes, staleness
// per scope and partial failure.
package setplan

import (
	"context"
	"encoding/json"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Item is one object, desired or observed.
type Item[T any] struct {
	plan.Key
	Kind string
	// Hash stands for the whole content, secrets included. Equal hashes mean
	// equal objects; desired and observed are hashed the same way. Where the
	// content holds secrets the hash is keyed.
	Hash string
	// Class and Weight say how guards count the object; a Weight of 0 means 1.
	Class  string
	Weight int
	Source plan.Source
	// TakeOver tells that the repository asks in so many words to change the
	// object although nobody owns it, or that it is a setting that every
	// environment has: then a difference is no conflict.
	TakeOver bool
	Value    T
}

// Scope is what was read of one scope.
type Scope[T any] struct {
	Name  plan.Scope
	Realm string
	// Err is why the scope could not be read whole; its Items then don't count.
	Err   error
	Items []Item[T]
	// Unmanaged counts objects that were seen but left out of Items, because
	// they can never be the target's (SOA, DNSSEC-made records).
	Unmanaged int
	// Exclusive tells that the target owns the scope as a whole: objects that
	// nobody asks for are deleted as drift, not left alone.
	Exclusive bool
}

// Set is what a driver gives for one session.
type Set[T any] interface {
	// Desired gives what the snapshot asks for.
	Desired(ctx context.Context, in driver.Input) ([]Item[T], error)
	// Observed reads the environment. Keys is nil for all that lies in the
	// target's scope, or limits the read to those objects (Apply checks bases
	// with it; giving more is allowed).
	Observed(ctx context.Context, in driver.Input, keys []plan.Key) ([]Scope[T], error)
	// Put creates or overwrites one object; old is the zero Item on a create.
	Put(ctx context.Context, item, old Item[T]) error
	// Remove deletes one object; one that is already gone is no error.
	Remove(ctx context.Context, old Item[T]) error
}

// Batcher is a Set that writes many objects in one request. Write gives one
// error a step, nil for a step that was carried out; wrap ErrUnknown where it
// can't be told, ErrSkipped where it was not begun, driver.ErrStale where the
// environment had moved.
type Batcher[T any] interface {
	// Batches cuts steps into atomic requests, in the order to send them.
	Batches(steps []Step[T]) [][]Step[T]
	Write(ctx context.Context, batch []Step[T]) []error
}

// Renamer is a Set that can rename an object without deleting it. Without it
// a rename is carried out as Put of the new and Remove of the old.
type Renamer[T any] interface {
	Rename(ctx context.Context, item, old Item[T]) error
}

// Shower is a Set that shows its objects as JSON documents in plans, and says
// which JSON pointers into them are sensitive. Without it the value is
// marshalled as it is.
type Shower[T any] interface {
	Show(item Item[T]) (doc json.RawMessage, sensitive []string, err error)
}

// Keeper is a Set whose objects are remembered in the inventory by a shorter
// document than plans show. Without it the shown one is kept.
type Keeper[T any] interface {
	Keep(item Item[T]) (doc json.RawMessage, sensitive []string, err error)
}

// Comparer is a Set that compares objects by itself, where equal objects do not
// have equal hashes: because only the environment can tell what a desired
// object comes to there. Item.Hash then stands for a desired object as it is
// asked for, and for an observed one as it is there; the two are never
// compared with each other.
type Comparer[T any] interface {
	Equal(want, have Item[T]) bool
}

// Confirmer is a Set that makes sure by itself that what would be written is
// what the plan shows, and wraps driver.ErrStale where it is not. Without it
// the shown documents are compared.
type Confirmer[T any] interface {
	Confirm(c plan.Change, item Item[T]) error
}

// Adopter is a Set that has something to note in the environment when an equal
// object is adopted. Adoptions are then journalled and batched as writes are;
// Adopt changes nothing that a plan would show.
type Adopter[T any] interface {
	Adopt(ctx context.Context, item, old Item[T]) error
}

// Concurrent is a Set whose scopes may be written side by side; Concurrency
// says how many at a time. Then its methods are called by several goroutines,
// one for each scope. Without it scopes are written one after the other.
type Concurrent interface {
	Concurrency() int
}

// Impacter is a Set that counts the impact of a change by itself. Without it
// a create, update, replace or delete counts the item's weight.
type Impacter[T any] interface {
	Impact(action plan.Action, item, old Item[T]) []plan.Impact
}

// Step is one write: New is what to put, Old what is there; a create has no
// Old, a delete no New.
type Step[T any] struct {
	Change plan.Change
	New    *Item[T]
	Old    *Item[T]
}
