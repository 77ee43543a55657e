-- SPDX-License-Identifier: LGPL-2.1-or-later
-- Wireshark's dissector for the files of `msgctl capture -w`: docs/CAPTURE.md has the layout, and
-- proto/PROTOCOL.md, section 4, that of the frames.
--
-- What a channel carries is handed to the dissector that is registered for its name in the table
-- "msg.name", without the name's argument:
--
--	DissectorTable.get("msg.name"):add("echo", Dissector.get("data-text-lines"))

local msg = Proto("msg", "Named message channels between Xen domains")

local VERSION = 1
local HEADER = 88 -- ours; the frame's own follows
local FRAME = 16
local FIRST, LAST = 1, 2

local frame_types = {"DATA", "CREDIT", "CLOSE", "SHUTDOWN", "LIMIT", "DROPS"}
local DATA = 1
local channel_types = {"SEQPACKET", "STREAM", "DGRAM"}
local transports = {"argo", "argo-strict", "grant"}
local close_reasons = {[0] = "NORMAL", [1] = "RESET"}
local directions = {[0] = "received", [1] = "sent"}

local f = {
	version = ProtoField.uint8("msg.version", "Version of this header"),
	sent = ProtoField.uint8("msg.sent", "Direction", base.DEC, directions),
	channel_type = ProtoField.uint8("msg.channel_type", "Type of the channel", base.DEC, channel_types),
	transport = ProtoField.uint8("msg.transport", "Transport", base.DEC, transports),
	domid = ProtoField.uint16("msg.domid", "Domain"),
	peer_domid = ProtoField.uint16("msg.peer_domid", "Other domain"),
	link = ProtoField.uint64("msg.link", "Link", base.HEX),
	credit = ProtoField.uint32("msg.credit", "Credit that its sender has left"),
	reserved = ProtoField.bytes("msg.reserved", "Reserved"),
	name = ProtoField.string("msg.name", "Name"),
	channel = ProtoField.uint32("msg.channel", "Channel"),
	len = ProtoField.uint32("msg.len", "Payload"),
	type = ProtoField.uint8("msg.type", "Type", base.DEC, frame_types),
	flags = ProtoField.uint8("msg.flags", "Flags", base.HEX),
	first = ProtoField.bool("msg.flags.first", "First of its message", 8, nil, FIRST),
	last = ProtoField.bool("msg.flags.last", "Last of its message", 8, nil, LAST),
	message_len = ProtoField.uint32("msg.message_len", "Length of the message"),
	given = ProtoField.uint32("msg.credit_given", "Credit that is given"),
	reason = ProtoField.uint32("msg.close_reason", "Reason", base.DEC, close_reasons),
	limit = ProtoField.uint32("msg.limit", "Longest message that is taken"),
	drops = ProtoField.uint32("msg.drops", "Datagrams that were dropped"),
	arg = ProtoField.uint32("msg.arg", "Argument"),
	payload = ProtoField.bytes("msg.payload", "Payload"),
}
msg.fields = {}
for _, field in pairs(f) do
	table.insert(msg.fields, field)
end

local malformed = ProtoExpert.new("msg.malformed", "No frame of a link", expert.group.MALFORMED, expert.severity.ERROR)
local uncaptured = ProtoExpert.new("msg.uncaptured", "Payload that was not captured", expert.group.COMMENTS_GROUP,
	expert.severity.CHAT)
msg.experts = {malformed, uncaptured}

local by_name = DissectorTable.new("msg.name", "Name of a channel", ftypes.STRING, base.NONE, msg)

-- The argument's field of a type of frame. SHUTDOWN has none.
local arg_fields = {f.message_len, f.given, f.reason, f.arg, f.limit, f.drops}

local function dissect_header(buffer, tree)
	local sub = tree:add(msg, buffer(0, HEADER), "Capture")

	sub:add(f.version, buffer(0, 1))
	sub:add(f.sent, buffer(1, 1))
	sub:add(f.channel_type, buffer(2, 1))
	sub:add(f.transport, buffer(3, 1))
	sub:add_le(f.domid, buffer(4, 2))
	sub:add_le(f.peer_domid, buffer(6, 2))
	sub:add_le(f.link, buffer(8, 8))
	sub:add_le(f.credit, buffer(16, 4))
	sub:add(f.reserved, buffer(20, 4))
	sub:add(f.name, buffer(24, 64), buffer(24, 64):stringz())
end

-- Neither bit32 nor an operator: one is in the Lua of older Wiresharks alone, the other in that of newer ones.
local function has(flags, bit)
	return math.floor(flags / bit) % 2 == 1
end

local function dissect_frame(buffer, tree)
	local sub = tree:add(msg, buffer(HEADER, FRAME), "Frame")
	local kind = buffer(HEADER + 8, 1):uint()
	local flags

	sub:add_le(f.channel, buffer(HEADER, 4))
	sub:add_le(f.len, buffer(HEADER + 4, 4))
	sub:add(f.type, buffer(HEADER + 8, 1))
	flags = sub:add(f.flags, buffer(HEADER + 9, 1))
	flags:add(f.first, buffer(HEADER + 9, 1))
	flags:add(f.last, buffer(HEADER + 9, 1))
	sub:add_le(arg_fields[kind] or f.arg, buffer(HEADER + 12, 4))
	if not frame_types[kind] or buffer(HEADER, 4):le_uint() == 0 or buffer(HEADER + 10, 2):uint() ~= 0 then
		sub:add_proto_expert_info(malformed)
	end
end

-- A fragment of a message, or one that is cut, is no whole that another dissector could read.
local function dissect_payload(buffer, pinfo, tree, name, len, flags)
	local there = buffer:len() - HEADER - FRAME
	local payload

	if there <= 0 then
		if len > 0 then
			tree:add_proto_expert_info(uncaptured)
		end
		return
	end
	payload = buffer(HEADER + FRAME, math.min(there, len))
	tree:add(f.payload, payload)
	if there >= len and flags == FIRST + LAST then
		by_name:try((name:gsub("%+.*", "")), payload:tvb(), pinfo, tree)
	end
end

local function info_of(buffer, kind, flags, len, arg)
	local info = string.format("%s %s", buffer(1, 1):uint() == 1 and ">" or "<", frame_types[kind] or "?")

	if kind == DATA then
		info = string.format("%s%s%s len=%u", info, has(flags, FIRST) and " first" or "",
			has(flags, LAST) and " last" or "", len)
	end
	if arg ~= 0 and (kind ~= DATA or arg ~= len) then
		info = string.format("%s arg=%u", info, arg)
	end
	return info
end

function msg.dissector(buffer, pinfo, tree)
	local kind, flags, len, arg, name, top

	if buffer:len() < HEADER + FRAME or buffer(0, 1):uint() ~= VERSION then
		return 0
	end
	pinfo.cols.protocol = "MSG"
	pinfo.cols.src = "domain " .. buffer(buffer(1, 1):uint() == 1 and 4 or 6, 2):le_uint()
	pinfo.cols.dst = "domain " .. buffer(buffer(1, 1):uint() == 1 and 6 or 4, 2):le_uint()
	kind = buffer(HEADER + 8, 1):uint()
	flags = buffer(HEADER + 9, 1):uint()
	len = buffer(HEADER + 4, 4):le_uint()
	arg = buffer(HEADER + 12, 4):le_uint()
	name = buffer(24, 64):stringz()
	pinfo.cols.info = string.format("%s:%u %s", name, buffer(HEADER, 4):le_uint(), info_of(buffer, kind, flags, len, arg))
	top = tree:add(msg, buffer(), string.format("Message channel %s, %s", name, frame_types[kind] or "?"))
	dissect_header(buffer, top)
	dissect_frame(buffer, top)
	if kind == DATA then
		dissect_payload(buffer, pinfo, top, name, len, flags)
	end
	return buffer:len()
end

DissectorTable.get("wtap_encap"):add(wtap.USER0, msg)
