package strict

import (
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// Child gives the value of a key in a mapping, or nil. Merges count.
func Child(n *Node, key string) *Node { return child(n, key, 0) }

func child(n *Node, key string, depth int) *Node {
	n = follow(n)
	if n == nil || n.Kind != yaml.MappingNode || depth > maxDepth {
		return nil
	}
	var merge *Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := follow(n.Content[i])
		if k == nil {
			continue
		}
		if k.Value == key && k.ShortTag() != "!!merge" {
			return n.Content[i+1]
		}
		if k.ShortTag() == "!!merge" {
			merge = follow(n.Content[i+1])
		}
	}
	if merge == nil {
		return nil
	}
	if merge.Kind != yaml.SequenceNode {
		return child(merge, key, depth+1)
	}
	for _, c := range merge.Content {
		if v := child(c, key, depth+1); v != nil {
			return v
		}
	}
	return nil
}

// Item gives an item of a list, or nil.
func Item(n *Node, i int) *Node {
	n = follow(n)
	if n == nil || n.Kind != yaml.SequenceNode || i < 0 || i >= len(n.Content) {
		return nil
	}
	return n.Content[i]
}

func follow(n *Node) *Node {
	for i := 0; n != nil && n.Kind == yaml.AliasNode; i++ {
		if i > maxDepth {
			return nil
		}
		n = n.Alias
	}
	return n
}

// Locate follows a field path such as "a.b[2].c" as far as it goes and gives
// the last node it finds. Keys may hold dots: the longest match counts.
func Locate(n *Node, field string) *Node {
	for field != "" && n != nil {
		next, rest := step(n, field)
		if next == nil {
			return n
		}
		n, field = next, rest
	}
	return n
}

func step(n *Node, field string) (*Node, string) {
	field = strings.TrimPrefix(field, ".")
	if strings.HasPrefix(field, "[") {
		index, rest, _ := strings.Cut(field[1:], "]")
		i, err := strconv.Atoi(index)
		if err != nil {
			return nil, ""
		}
		return Item(n, i), rest
	}
	for end := len(field); end > 0; end = strings.LastIndexAny(field[:end], ".[") {
		if v := Child(n, field[:end]); v != nil {
			return v, field[end:]
		}
	}
	return nil, ""
}

// Copy gives a deep copy of a node in which every text value went through fill.
// Aliases are written out as far as the bounds of a document allow; what lies
// deeper is left out.
func Copy(n *Node, fill func(string) string) *Node {
	budget := maxNodes
	return copyNode(n, fill, 0, &budget)
}

func copyNode(n *Node, fill func(string) string, depth int, budget *int) *Node {
	n = follow(n)
	if *budget--; n == nil || *budget < 0 || depth > maxDepth+1 {
		return &Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	c := *n
	c.Content = nil
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		c.Value = fill(n.Value)
		c.Tag = "!!str"
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			c.Content = append(c.Content, child)
			continue
		}
		c.Content = append(c.Content, copyNode(child, fill, depth+1, budget))
	}
	return &c
}
