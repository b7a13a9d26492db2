// What `spartan` does, a file each; results go to stdout.
#ifndef SPARTAN_SESSION_COMMANDS_H
#define SPARTAN_SESSION_COMMANDS_H

#include "options.h"

namespace spartan {

// Exit codes of the command; what goes wrong is a CommandError.
int run(const Options& options);
int bench(const Options& options);
int info(const Options& options);
int check_files(const Options& options);  // `spartan check`
int serve(const Options& options);

}  // namespace spartan
#endif
