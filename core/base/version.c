/* The version is another one after each commit. It is in this one object, so that a commit builds one file anew, and
 * none that keeps an older commit's name (the Makefile gives it). */
#include "base/version.h"

#ifndef MOONPHASE_VERSION
#define MOONPHASE_VERSION "dev"
#endif

const char moonphase_version[] = MOONPHASE_VERSION;
