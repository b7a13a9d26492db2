// The protocol of sd_notify(3), so that systemd knows when a service is ready, without its library.
#ifndef SPARTAN_SESSION_SERVICE_NOTIFY_H
#define SPARTAN_SESSION_SERVICE_NOTIFY_H

#include <string>

namespace spartan {

// Sends `state`, such as "READY=1", to $NOTIFY_SOCKET. Nothing happens where there is none; false if it can't be sent.
bool notify_manager(const std::string& state);

}  // namespace spartan
#endif
