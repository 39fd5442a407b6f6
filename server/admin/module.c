/* MODULE: there are none, and a library of code can't be loaded into the process. */
#include "server/admin/admin_internal.h"

void admin_module_list(struct command_context *context) {
    reply_empty_array(context->reply);
}

/* LOAD, LOADEX and UNLOAD. */
void admin_module_change(struct command_context *context) {
    if (!admin_allows_module(context->modules->admin, context->session)) {
        reply_error(context->reply,
                    "ERR MODULE command not allowed. If the enable-module-command option is set to "
                    "\"local\", you can run it from a local connection, otherwise you need to set "
                    "this option in the configuration file, and then restart the server.");
        return;
    }
    reply_error(context->reply, "ERR This server does not load modules: what they would add has to "
                                "run beside it");
}

void admin_module_help(struct command_context *context) {
    static const char *const lines[] = {
        "LIST",
        "    The modules that are loaded: none.",
        "LOAD <path> [<arg> ...]",
        "    Refused: this server does not load modules.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS <arg> ...]",
        "    Refused.",
        "UNLOAD <name>",
        "    Refused.",
        NULL,
    };
    context_help(context, lines);
}
