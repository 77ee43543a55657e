// SPDX-License-Identifier: LGPL-2.1-or-later

// An echo server: echo-server NAME
package main

import (
	"fmt"
	"log"
	"os"

	"libmsg"
)

func serve(conn *libmsg.Conn) {
	defer conn.Close()
	fmt.Println("a client in domain", conn.Peer().Domain)
	for {
		message, err := conn.ReadMsg()
		if err == nil {
			_, err = conn.Write(message)
		}
		if err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: echo-server NAME")
	}
	ctx, err := libmsg.Open("", -1)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := ctx.Listen(os.Args[1], libmsg.SeqPacket, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", os.Args[1])
	for {
		conn, err := listener.AcceptMsg()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn)
	}
}
