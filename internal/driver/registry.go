package driver

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Registry is an explicit set of drivers by name.
type Registry map[string]Driver

// NewRegistry makes a registry of drivers; two of one name are an error.
func NewRegistry(drivers ...Driver) (Registry, error) {
	r := Registry{}
	for _, d := range drivers {
		name := d.Info().Name
		if _, dup := r[name]; dup {
			return nil, fmt.Errorf("driver %q is registered twice", name)
		}
		r[name] = d
	}
	return r, nil
}

// Get gives a driver, or an error that lists those there are.
func (r Registry) Get(name string) (Driver, error) {
	d, ok := r[name]
	if !ok {
		return nil, fmt.Errorf("there is no driver %q; there are: %s", name, strings.Join(r.Names(), ", "))
	}
	return d, nil
}

// Names gives the drivers' names, sorted.
func (r Registry) Names() []string { return slices.Sorted(maps.Keys(r)) }
