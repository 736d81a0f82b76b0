package sql

import "sync"

// bells wake those who wait for mail under a topic. A bell remembers one ring.
type bells struct {
	mu sync.Mutex
	m  map[string]map[chan struct{}]bool
}

func newBells() *bells { return &bells{m: map[string]map[chan struct{}]bool{}} }

func (b *bells) ring(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ringSet(b.m[topic])
}

func (b *bells) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, set := range b.m {
		ringSet(set)
	}
}

func ringSet(set map[chan struct{}]bool) {
	for c := range set {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Bell rings when something was put under a topic.
func (d *DB) Bell(topic string) (<-chan struct{}, func()) {
	b, c := d.bells, make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m[topic] == nil {
		b.m[topic] = map[chan struct{}]bool{}
	}
	b.m[topic][c] = true
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.m[topic], c)
		if len(b.m[topic]) == 0 {
			delete(b.m, topic)
		}
	}
}

// ringOthers rings in the other replicas, when the transaction commits.
func (t *tx) ringOthers(topic string) error {
	if t.d.dialect != &postgres {
		return nil
	}
	_, err := t.exec("SELECT pg_notify('"+bellChannel+"', ?)", topic)
	return err
}
