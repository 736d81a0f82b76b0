package ssh

import (
	"errors"
	"fmt"
	"strings"
)

// unitProperties is what is asked of systemctl show about a unit.
const unitProperties = "Id,Names,LoadState,LoadError,ActiveState,SubState,UnitFileState,FragmentPath,NeedDaemonReload"

// parseUnitShow reads the answer of systemctl show about n units: a block of
// KEY=VALUE lines each, in the order asked for, with an empty line between.
func parseUnitShow(text string, n int) ([]map[string]string, error) {
	out := make([]map[string]string, 0, n)
	block := map[string]string{}
	end := func() {
		if len(block) > 0 {
			out = append(out, block)
			block = map[string]string{}
		}
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			end()
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("systemctl show: %q is no KEY=VALUE", clip(line))
		}
		if _, twice := block[key]; twice {
			return nil, fmt.Errorf("systemctl show: %s twice in one unit", clip(key))
		}
		block[key] = value
	}
	end()
	if len(out) != n {
		return nil, fmt.Errorf("systemctl show told about %d units of %d", len(out), n)
	}
	for _, b := range out {
		if b["LoadState"] == "" || b["ActiveState"] == "" {
			return nil, errors.New("systemctl show left out LoadState or ActiveState")
		}
	}
	return out, nil
}

// clip shortens what a host said for an error.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
