package ssh

const kindBlock = "block"
