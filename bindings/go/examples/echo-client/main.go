// SPDX-License-Identifier: LGPL-2.1-or-later

// Sends each line of standard input as a message and prints each answer: echo-client [DOMAIN/]NAME
package main

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"libmsg"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: echo-client [DOMAIN/]NAME")
	}
	ctx, err := libmsg.Open("", -1)
	if err != nil {
		log.Fatal(err)
	}
	defer ctx.Close()
	// Wait for the server if it is not up yet, ten seconds at most.
	limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := ctx.Connect(limit, os.Args[1], libmsg.SeqPacket, libmsg.WaitName)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := conn.Write(lines.Bytes()); err != nil {
			log.Fatal(err)
		}
		answer, err := conn.ReadMsg()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("sent %d bytes, got back: %s\n", len(lines.Bytes()), answer)
	}
}
