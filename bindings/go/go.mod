module libmsg

go 1.19
