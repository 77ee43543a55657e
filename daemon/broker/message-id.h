/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * MESSAGE_ID of the journal's records, one for each kind of event (systemd-id128(1)). They are for
 * ever: scripts look for them. units/msgd.catalog explains each, and msgd(8) lists them. All parts
 * of msgd include this header.
 */
#ifndef MSGD_DAEMON_BROKER_MESSAGE_ID_H
#define MSGD_DAEMON_BROKER_MESSAGE_ID_H

/* An application has attached. */
#define MESSAGE_ID_ATTACHED "338b35d3129c453a9c26f037c6ba8b96"
/* An application is gone, by itself or with its domain. */
#define MESSAGE_ID_GONE "37ec418178024334a4cadc8dde0bd71d"
/* An application broke the protocol, and msgd let go of it. */
#define MESSAGE_ID_DROPPED "9d376b5708884727b4700f871d5c6178"
/* The administrator ended what msgd does for an application: msgctl kick. */
#define MESSAGE_ID_KICKED "80248b3ada4c49deb57829754453451f"
/* An application may not attach. */
#define MESSAGE_ID_ATTACH_REFUSED "7d34d5978945445cb84ea6c6c97fe1ea"
/* An application has taken a name. */
#define MESSAGE_ID_LISTEN_PERMITTED "44c1040f96204f1eb4e8deeb8d9358f2"
/* An application may not have a name. */
#define MESSAGE_ID_LISTEN_REFUSED "ea5c30da24b44e51bf10edc3bd139ef5"
/* A channel was made. */
#define MESSAGE_ID_CONNECT_PERMITTED "d6ded5980cde42db88cd805c3e2104f5"
/* An application may not connect. */
#define MESSAGE_ID_CONNECT_REFUSED "39a713ae53b6450ebde55562d0e72fed"
/* A domain has all that it may have of something. */
#define MESSAGE_ID_LIMIT "94889988d8e7413cb9adbf18c18c9416"
/* An application gave up a link. */
#define MESSAGE_ID_LINK_FAILED "014a6e9d398a489e91b845464a561462"
/* A name that stands is permitted no more. */
#define MESSAGE_ID_NAME_REVOKED "75f4528877274347911651b6a5e019db"
/* A channel that stands is permitted no more. */
#define MESSAGE_ID_CHANNEL_REVOKED "a6c2578ea4a5468aac2fd564159d6ae6"
/* A domain's record in the store is not true, or too much. */
#define MESSAGE_ID_RECORD_REFUSED "d8a5bca8345b4099b596b49b8548bd6c"
/* A domain is to be saved. */
#define MESSAGE_ID_QUIESCED "0dd61aae056243f4a79642e83b9e65c5"
/* It goes on. */
#define MESSAGE_ID_RESUMED "15a57ea262a64d728ecd3e595f8f3da8"
/* An admin client changed something. */
#define MESSAGE_ID_ADMIN "d74ccb1a7dbf4e7dad8864598baaa3c2"
/* An admin client may not do what it asked for. */
#define MESSAGE_ID_ADMIN_REFUSED "0d0c2eb7990340beb37c0faa34a6188f"
/* Configuration and policy were read. */
#define MESSAGE_ID_RELOADED "43124f61989c4e81889b37470dd940ca"
/* They have errors, and the former ones stay. */
#define MESSAGE_ID_RELOAD_FAILED "6ea832a1285541b89ba6238dabc30d2c"
/* Records of one source were left out. */
#define MESSAGE_ID_LEFT_OUT "b14a802bf9554bfe90f193370d338f54"

#endif
