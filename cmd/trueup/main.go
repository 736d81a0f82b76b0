// Command trueup applies the desired state in Git to the systems people run.
package main

func main() {}
