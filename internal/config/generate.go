package config

//go:generate go test ./published -run TestGeneratedFilesAreUpToDate -update
