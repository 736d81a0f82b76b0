package main

import (
	"context"
	"net/http"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// thing is an object on the test's server. A new name replaces it.
type thing struct{ c *client }

type model struct {
	ID      types.String `tfsdk:"id"`
	Name    types.String `tfsdk:"name"`
	Value   types.String `tfsdk:"value"`
	Secret  types.String `tfsdk:"secret"`
	Address types.String `tfsdk:"address"`
}

// Metadata names the resource.
func (t *thing) Metadata(_ context.Context, _ resource.MetadataRequest, r *resource.MetadataResponse) {
	r.TypeName = "things_thing"
}

// Schema describes the resource.
func (t *thing) Schema(_ context.Context, _ resource.SchemaRequest, r *resource.SchemaResponse) {
	keep := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	r.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":      schema.StringAttribute{Computed: true, PlanModifiers: keep},
		"name":    schema.StringAttribute{Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()}},
		"value":   schema.StringAttribute{Required: true},
		"secret":  schema.StringAttribute{Optional: true, Sensitive: true},
		"address": schema.StringAttribute{Computed: true, PlanModifiers: keep},
	}}
}

// Configure takes the provider's client.
func (t *thing) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if c, ok := req.ProviderData.(*client); ok {
		t.c = c
	}
}

func (t *thing) put(ctx context.Context, m *model) error {
	if m.Value.ValueString() == "crash" {
		os.Exit(3) // as a provider that panics
	}
	// What was begun is finished, also when the program is asked to stop.
	o, _, err := t.c.do(context.WithoutCancel(ctx), http.MethodPut, m.Name.ValueString(), &object{Value: m.Value.ValueString(), Secret: m.Secret.ValueString()})
	if err != nil {
		return err
	}
	m.ID, m.Address = m.Name, types.StringValue(o.Address)
	return nil
}

// Create makes the object.
func (t *thing) Create(ctx context.Context, req resource.CreateRequest, r *resource.CreateResponse) {
	var m model
	r.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	if err := t.put(ctx, &m); err != nil {
		r.Diagnostics.AddError("The thing can't be made", err.Error())
		return
	}
	r.Diagnostics.Append(r.State.Set(ctx, &m)...)
}

// Update changes the object.
func (t *thing) Update(ctx context.Context, req resource.UpdateRequest, r *resource.UpdateResponse) {
	var m model
	r.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	if err := t.put(ctx, &m); err != nil {
		r.Diagnostics.AddError("The thing can't be changed", err.Error())
		return
	}
	r.Diagnostics.Append(r.State.Set(ctx, &m)...)
}

// Read looks the object up.
func (t *thing) Read(ctx context.Context, req resource.ReadRequest, r *resource.ReadResponse) {
	var m model
	r.Diagnostics.Append(req.State.Get(ctx, &m)...)
	name := m.Name.ValueString()
	if name == "" {
		name = m.ID.ValueString()
	}
	o, there, err := t.c.do(ctx, http.MethodGet, name, nil)
	switch {
	case err != nil:
		r.Diagnostics.AddError("The thing can't be read", err.Error())
	case !there:
		r.State.RemoveResource(ctx)
	default:
		m.ID, m.Name, m.Value, m.Address = types.StringValue(name), types.StringValue(name), types.StringValue(o.Value), types.StringValue(o.Address)
		if o.Secret != "" {
			m.Secret = types.StringValue(o.Secret)
		}
		r.Diagnostics.Append(r.State.Set(ctx, &m)...)
	}
}

// Delete removes the object.
func (t *thing) Delete(ctx context.Context, req resource.DeleteRequest, r *resource.DeleteResponse) {
	var m model
	r.Diagnostics.Append(req.State.Get(ctx, &m)...)
	if _, _, err := t.c.do(ctx, http.MethodDelete, m.Name.ValueString(), nil); err != nil {
		r.Diagnostics.AddError("The thing can't be removed", err.Error())
	}
}

// ImportState takes an object over by its name.
func (t *thing) ImportState(ctx context.Context, req resource.ImportStateRequest, r *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("id"), req, r)
}
