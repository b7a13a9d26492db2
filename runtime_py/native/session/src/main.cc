// `spartan`: runs and measures a compiled program on token ids. Needs nothing but the libraries beside it.
//
// Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 it failed while it ran, 2 wrong use or
// input that is unreadable, altered or refused.
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "commands.h"
#include "error.h"
#include "options.h"

int main(int argc, char** argv) {
  if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
    fputs(spartan::kUsage, stdout);
    return 0;
  }
  try {
    const spartan::Options options = spartan::parse_options(argc, argv);
    const int code = options.command == "run" ? spartan::run(options)
                     : options.command == "bench" ? spartan::bench(options)
                     : options.command == "check" ? spartan::check_files(options)
                     : options.command == "serve" ? spartan::serve(options)
                                                  : spartan::info(options);
    if (fflush(stdout) != 0) {
      throw spartan::CommandError("the result could not be written", spartan::kExitInternal);
    }
    return code;
  } catch (const spartan::CommandError& error) {
    fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code;
  } catch (const std::bad_alloc&) {
    fputs("error: out of memory\n", stderr);
    return spartan::kExitInternal;
  } catch (const std::exception& error) {
    fprintf(stderr, "error: %s\n", error.what());
    return spartan::kExitInternal;
  }
}
