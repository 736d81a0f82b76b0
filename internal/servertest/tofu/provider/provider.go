package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

type things struct{}

func newProvider() provider.Provider { return things{} }

// Metadata names the provider.
func (things) Metadata(_ context.Context, _ provider.MetadataRequest, r *provider.MetadataResponse) {
	r.TypeName, r.Version = "things", "1.0.0"
}

// Schema describes the provider's configuration.
func (things) Schema(_ context.Context, _ provider.SchemaRequest, r *provider.SchemaResponse) {
	r.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"url":   schema.StringAttribute{Optional: true},
		"token": schema.StringAttribute{Optional: true, Sensitive: true},
	}}
}

// Configure takes URL and token from the configuration or the environment.
func (things) Configure(ctx context.Context, req provider.ConfigureRequest, r *provider.ConfigureResponse) {
	var conf struct {
		URL   types.String `tfsdk:"url"`
		Token types.String `tfsdk:"token"`
	}
	r.Diagnostics.Append(req.Config.Get(ctx, &conf)...)
	c := &client{url: conf.URL.ValueString(), token: conf.Token.ValueString(), http: &http.Client{Timeout: 2 * time.Minute}}
	if c.url == "" {
		c.url = os.Getenv("THINGS_URL")
	}
	if c.token == "" {
		c.token = os.Getenv("THINGS_TOKEN")
	}
	r.ResourceData = c
}

// Resources lists the one kind there is.
func (things) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &thing{} }}
}

// DataSources lists none.
func (things) DataSources(context.Context) []func() datasource.DataSource { return nil }

type client struct {
	url, token string
	http       *http.Client
}

type object struct {
	Value   string `json:"value"`
	Secret  string `json:"secret,omitempty"`
	Address string `json:"address,omitempty"`
}

// do sends a request; false is "not there".
func (c *client) do(ctx context.Context, method, name string, in *object) (object, bool, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return object{}, false, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/things/"+url.PathEscape(name), body)
	if err != nil {
		return object{}, false, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return object{}, false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return object{}, false, err
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return object{}, false, nil
	case resp.StatusCode >= 300:
		return object{}, false, fmt.Errorf("%s %s: %s: %s (token %s)", method, name, resp.Status, text, c.token)
	}
	var out object
	if len(text) > 0 {
		err = json.Unmarshal(text, &out)
	}
	return out, true, err
}
