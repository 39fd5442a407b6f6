#include "tools/cli/usage.h"

static const char *const lines[] = {
    "  -h <hostname>      Server hostname (default: 127.0.0.1).",
    "  -p <port>          Server port (default: 6379).",
    "  -t <seconds>       Time limit for connecting; 0: the operating system's.",
    "  -s <socket>        Server socket (instead of hostname and port).",
    "  -a <password>      Password. The variable $_AUTH is a safer way to pass it;",
    "                     the option comes first.",
    "  --user <username>  User name that goes with the password.",
    "  --pass <password>  The same as -a.",
    "  --askpass          Ask for the password at the terminal.",
    "  -u <uri>           Server as [scheme]://[[user:]password@]host[:port][/db]",
    "                     or unix:///path.",
    "  -r <repeat>        Run the command that many times; negative: for ever.",
    "  -i <interval>      Seconds between two repetitions, like 0.1.",
    "  -n <db>            Database number.",
    "  -2                 Speak RESP2.",
    "  -3                 Speak RESP3.",
    "  -x                 Read the last argument from standard input.",
    "  -X <tag>           Read the argument <tag> from standard input.",
    "  -d <delimiter>     Between the items of a raw reply (default: newline).",
    "  -D <delimiter>     After a raw reply (default: newline).",
    "  -c                 Follow -ASK and -MOVED redirections.",
    "  -e                 Error replies go to standard error and set the exit status;",
    "                     twice: also errors inside the reply of EXEC.",
    "  -4, -6             Prefer IPv4 or IPv6.",
    "  --raw              Raw replies (default when standard output is no terminal).",
    "  --no-raw           Replies for people, wherever they go.",
    "  --csv              Replies as CSV.",
    "  --json             Replies as JSON (asks for RESP3, unless -2).",
    "  --quoted-json      JSON with ASCII-safe strings.",
    "  --quoted-input     Arguments are quoted strings, like '\"a\\x00b\"'.",
    "  --show-pushes <yn> Show RESP3 push messages (default: at a terminal).",
    "  --show-attributes <yn> Show RESP3 attributes (default: no).",
    "  --color <when>     auto, always or never.",
    "  --no-auth-warning  No warning about a password on the command line.",
    "  --test_hint <line> Print the hint for a typed line.",
    "  --test_hint_file <file> Check lines of '<line>' '<hint>'.",
    "  --cluster <command> [args...] [opts...]",
    "                     Create, inspect and change a cluster; see --cluster help.",
    "  --help             This text.",
    "  --version          The version.",
};

void usage_print(const struct profile *profile, FILE *out) {
    fprintf(out, "%s %s\n\nUsage: %s [OPTIONS] [cmd [arg [arg ...]]]\n", profile->tool,
            DUNLIN_VERSION, profile->tool);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        for (const char *c = lines[i]; *c != 0; c++) {
            if (*c == '$') {
                fputs(profile->env_prefix, out);
            } else {
                fputc(*c, out);
            }
        }
        fputc('\n', out);
    }
    fprintf(out,
            "\nExamples:\n"
            "  cat /etc/hosts | %s -x set hosts\n"
            "  %s -r 100 -i 1 info memory\n"
            "  %s --quoted-input set '\"null-\\x00-separated\"' value\n"
            "\nWithout a command, %s reads commands from the terminal or from standard input.\n",
            profile->tool, profile->tool, profile->tool, profile->tool);
}
